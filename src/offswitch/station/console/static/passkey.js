"use strict";
// Passkeys: register one, sign in with it, and confirm a reset with it.
//
//   <form data-passkey-register>               its button appears where the browser can
//   <form data-passkey-sign-in>                the same
//   <form data-passkey-confirm="DIGEST" data-passkeys="ID ID">   with a hidden button [data-passkey]
//       and a field named proof: the authenticator signs the digest's 32 bytes, the proof goes into
//       the field and the form is sent. Checked by the warden; nothing here decides.
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (data) => btoa(String.fromCharCode(...new Uint8Array(data))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const hex = (digits) => Uint8Array.from(digits.match(/../g) || [], (pair) => parseInt(pair, 16));

  async function post(url, body, form) {
    const csrf = form.elements.csrf ? form.elements.csrf.value : "";
    const headers = { "Content-Type": "application/json", "Accept": "application/json", "X-CSRF": csrf };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.detail || "it was refused");
    return said;
  }

  // The text of a proof over 64 hex digits.
  async function proof(digest, ids = []) {
    const allowCredentials = ids.map((id) => ({ type: "public-key", id: bytes(id) }));
    const got = await navigator.credentials.get({ publicKey: { challenge: hex(digest), allowCredentials, userVerification: "required" } });
    const { authenticatorData, clientDataJSON, signature } = got.response;
    return "passkey " + JSON.stringify({
      id: text(got.rawId),
      authenticatorData: text(authenticatorData),
      clientDataJSON: text(clientDataJSON),
      signature: text(signature),
    });
  }

  async function register(form) {
    if (!form.reportValidity()) return;
    const asked = await post("/me/passkeys/ask", { password: form.elements.password ? form.elements.password.value : "" }, form);
    const publicKey = {
      ...asked,
      challenge: bytes(asked.challenge),
      user: { ...asked.user, id: bytes(asked.user.id) },
      excludeCredentials: (asked.excludeCredentials || []).map((one) => ({ ...one, id: bytes(one.id) })),
    };
    const made = await navigator.credentials.create({ publicKey });
    const credential = {
      id: made.id,
      rawId: text(made.rawId),
      type: made.type,
      response: { attestationObject: text(made.response.attestationObject), clientDataJSON: text(made.response.clientDataJSON) },
    };
    await post("/me/passkeys", { credential, label: form.elements.label ? form.elements.label.value : "" }, form);
    location.assign("/me");
  }

  async function signIn(form) {
    const asked = await post("/sign-in/passkey/ask", {}, form);
    const to = form.elements.to ? form.elements.to.value : "/";
    const said = await post("/sign-in/passkey", { proof: await proof(asked.challenge), to }, form);
    location.assign(said.to);
  }

  async function confirm(form) {
    if (!form.reportValidity()) return;
    const ids = (form.dataset.passkeys || "").split(" ").filter(Boolean);
    form.elements.proof.value = await proof(form.dataset.passkeyConfirm, ids);
    form.submit();
  }

  function wire(form, act) {
    const button = form.querySelector("[data-passkey]") || form.querySelector("button");
    form.hidden = false;
    button.hidden = false;
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      let said = form.querySelector("[data-passkey-said]");
      if (!said) {
        said = document.createElement("p");
        said.dataset.passkeySaid = "";
        said.setAttribute("role", "alert");
        form.append(said);
      }
      said.textContent = "";
      button.disabled = true;
      try {
        await act(form);
      } catch (error) {
        said.textContent = error.name === "NotAllowedError" ? "The passkey was not used: it was cancelled, or this device has none for this page." : error.message;
      }
      button.disabled = false;
    });
  }

  if (!window.PublicKeyCredential) return;
  for (const form of document.querySelectorAll("form[data-passkey-register]")) wire(form, register);
  for (const form of document.querySelectorAll("form[data-passkey-sign-in]")) wire(form, signIn);
  for (const form of document.querySelectorAll("form[data-passkey-confirm]")) wire(form, confirm);
})();
