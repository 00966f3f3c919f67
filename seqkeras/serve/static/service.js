// Requests to the service, with the token of this tab where one is needed.

const dialog = document.getElementById("ask");
const field = document.getElementById("token");
let asking = null;

// Ask for a token, once for all requests that wait for it.
function ask(wrong) {
  if (asking) return asking;
  asking = new Promise((resolve) => {
    document.getElementById("ask-why").textContent = wrong
      ? "The service does not know this token. Enter another one."
      : "This service asks for a token. It stays in this tab and is sent only to this service.";
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
