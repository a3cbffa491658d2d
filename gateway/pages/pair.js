// The page of a pairing link: moves the secret behind `#` into the form, out of the address.
// Nothing is sent before the tap.

const byId = (id) => document.getElementById(id);

function takeSecret() {
  const secret = location.hash.slice(1);
  if (secret) {
    byId("secret").value = secret;
    byId("problem").textContent = "";
    history.replaceState(null, "", location.pathname);
  }
  byId("pair").disabled = !byId("secret").value;
  if (!byId("secret").value && !byId("problem").textContent) {
    byId("problem").textContent = "This address has no code. Open the link of `ccproxy phone`.";
  }
}

addEventListener("hashchange", takeSecret);
takeSecret();
