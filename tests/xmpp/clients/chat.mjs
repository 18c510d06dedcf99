// @xmpp/client: log in, send to oneself's peer, print what comes. Arguments: service, domain, name,
// key, peer, text. Ends when "bye" was heard.
import { createRequire } from "node:module";
const require = createRequire(process.env.MODULES + "/");
const { client, xml } = require("@xmpp/client");

const [service, domain, username, password, peer, text] = process.argv.slice(2);
const xmpp = client({ service, domain, username, password, resource: "node" });
xmpp.on("error", (error) => console.log("error", error.message));
xmpp.on("stanza", (stanza) => {
  if (!stanza.is("message")) return;
  const body = stanza.getChildText("body");
  if (!body) return;
  console.log("heard", body);
  if (body === "bye") xmpp.stop();
});
xmpp.on("online", async (address) => {
  console.log("online", address.toString());
  await xmpp.send(xml("presence"));
  await xmpp.send(xml("message", { type: "chat", to: `${peer}@${domain}` }, xml("body", {}, text)));
});
xmpp.streamManagement.on("resumed", () => console.log("resumed"));
xmpp.start().catch((error) => console.log("failed", error.message));
