// The page without a server: its own files from the last visit, so that one can read and write
// offline. The network comes first, so a new version is there at the next visit.

const CACHE = "whimbrel";
const PATIENCE_MS = 2_500;
const worker = /** @type {any} */ (self);

/** @param {string} path */
const isFile = (path) => path === "/" || path.startsWith("/app/");

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || !isFile(url.pathname)) return;
  event.respondWith(answer(event.request, url.pathname));
});

/** @param {Request} request @param {string} path */
async function answer(request, path) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(path);
  const fresh = fetch(request).then(async (response) => {
    if (response.ok) await cache.put(path, response.clone());
    return response;
  });
  if (!known) return fresh;
  const late = new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS, known.clone()); });
  return Promise.race([fresh.catch(() => known), late]);
}
