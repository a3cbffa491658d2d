// Questions to the gateway. A browser that is signed out is led to the sign-in page, and from there back to this view.

const AGAIN_MS = 10_000; // one address that refuses the cookie must not lead there and back for ever

export async function ask(path, options) {
  const reply = await fetch(path, { headers: { "content-type": "application/json" }, ...options });
  if (reply.status === 401) signIn();
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw Object.assign(new Error(body.error?.message ?? `${path}: HTTP ${reply.status}`), { status: reply.status });
  return body;
}

function signIn() {
  const before = Number(sessionStorage.getItem("ccproxy-signing-in"));
  if (Date.now() - before < AGAIN_MS) return;
  sessionStorage.setItem("ccproxy-signing-in", Date.now());
  location.assign(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`);
}

export const rowsOf = async (path) => (await ask(path)).results ?? [];
