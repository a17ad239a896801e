// Passkeys: a button with `data-passkey` asks the server for options, the browser's authenticator
// for an answer, and the server again whether that is good. "get" signs in, "create" registers.

const encode = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
  .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function decode(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

async function post(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(json.detail ?? `the server answered ${answer.status}`);
  return json;
}

async function signIn(button) {
  const options = await post(button.dataset.options, {});
  const credential = await navigator.credentials.get({
    publicKey: { ...options, challenge: decode(options.challenge) },
  });
  const { response } = credential;
  await post(button.dataset.finish, {
    id: encode(credential.rawId),
    client_data: encode(response.clientDataJSON),
    authenticator_data: encode(response.authenticatorData),
    signature: encode(response.signature),
    user_handle: response.userHandle ? encode(response.userHandle) : "",
  });
}

async function register(button) {
  const code = button.dataset.code ?? "";
  const options = await post(button.dataset.options, code ? { code } : {});
  const credential = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: decode(options.challenge),
      user: { ...options.user, id: decode(options.user.id) },
      excludeCredentials: options.excludeCredentials.map((it) => ({ ...it, id: decode(it.id) })),
    },
  });
  await post(button.dataset.finish, {
    client_data: encode(credential.response.clientDataJSON),
    attestation: encode(credential.response.attestationObject),
    label: document.querySelector("[data-passkey-label]")?.value ?? "",
    code,
  });
}

// The browser's own words for its errors help nobody.
function inWords(error) {
  switch (error.name) {
    case "NotAllowedError": return "Nothing was chosen, or it took too long. Try again.";
    case "InvalidStateError": return "This authenticator has a passkey for you already.";
    case "SecurityError": return "The browser allows no passkeys at this address.";
    default: return error.message;
  }
}

function offer(button) {
  const status = document.querySelector("[data-passkey-status]");
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    status.textContent = "Waiting for your authenticator …";
    try {
      await (button.dataset.passkey === "get" ? signIn(button) : register(button));
      status.textContent = "Done.";
      location.assign(button.dataset.next);
    } catch (error) {
      status.textContent = inWords(error);
      button.disabled = false;
      button.focus();
    }
  });
}

const buttons = document.querySelectorAll("[data-passkey]");
if (window.isSecureContext && window.PublicKeyCredential) {
  buttons.forEach(offer);
} else {
  document.querySelectorAll("[data-passkey-absent]").forEach((it) => { it.hidden = false; });
}
