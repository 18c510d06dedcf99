"""Administrators who use an XMPP client read alerts there, from whimbrel at their domain."""

from tests.node.test_alerts import an_alert
from tests.xmpp.house import House
from tests.xmpp.talk import CLIENT


async def test_an_alert_comes_as_a_message_of_the_server(home: House) -> None:
    bob = await home.talker("bob", "b")
    home.node.spokesman.open_teller(("bob",)).tell(an_alert())
    message = await bob.hear("message")
    assert message.get("from", "").partition("/")[0] == "whimbrel@localhost"
    assert "ALERT  the database: 900 ms." in message.findtext(f"{{{CLIENT}}}body", "")
