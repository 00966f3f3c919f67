// Requests to the service, with the token of this tab where one is needed.

const REASON = "This service asks for a token. It stays in this tab and is sent only to this service.";
const WRONG = "The service does not know this token. Enter another one.";

const field = make("input", {
  id: "token", type: "password", autocomplete: "off", required: "", minlength: "16", autofocus: "",
});
const reason = make("p", { id: "ask-why" });
const dialog = make(
  "dialog", { id: "ask", "aria-labelledby": "ask-heading" },
  make(
    "form", { id: "token-form", method: "dialog" },
    make("h2", { id: "ask-heading" }, "Token"),
    reason,
    make("label", { for: "token" }, "Token"),
    field,
    make("button", {}, "Use it"),
  ),
);
document.body.append(dialog);
let asking = null;

// Ask for a token, once for all requests that wait for it.
function ask(wrong) {
  if (asking) return asking;
  asking = new Promise((resolve) => {
    reason.textContent = wrong ? WRONG : REASON;
    field.value = "";
    dialog.showModal();
    dialog.addEventListener("close", () => {
      if (field.value) sessionStorage.setItem("token", field.value.trim());
      asking = null;
      resolve(Boolean(field.value));
    }, { once: true });
  });
  return asking;
}

export async function send(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (response.status !== 401) return response;
  const known = sessionStorage.getItem("token");
  // Another request may have asked meanwhile.
  if (known !== token || (await ask(Boolean(token)))) return send(path, options);
  return response;
}

export async function get(path) {
  const response = await send(path);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error || `Status ${response.status}`);
  return body;
}

// Make an element; text and attributes are set as such, never as HTML.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
