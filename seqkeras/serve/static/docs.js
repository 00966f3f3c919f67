// The documentation of the API, from /openapi.json, with a form to try each request.

import { get, make, send } from "./service.js";

const part = (id) => document.getElementById(id);
const TITLES = { sessions: "Sessions", service: "Service" };
let api = null;

function resolve(value) {
  while (value.$ref) {
    value = value.$ref.slice(2).split("/").reduce((place, name) => place[name], api);
  }
  return value;
}

function named(schema) {
  return schema.$ref ? schema.$ref.split("/").at(-1) : null;
}

// A value that fits a schema.
function example(schema) {
  const name = named(schema);
  schema = resolve(schema);
  if (name === "Observation") schema = schema.anyOf.at(-1); // by name: it explains itself
  if (schema.example !== undefined) return schema.example;
  if (schema.anyOf) return example(schema.anyOf[0]);
  const kind = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (kind === "array") return Array(Math.min(schema.minItems || 1, 8)).fill(0).map(() => example(schema.items));
  if (kind === "object") {
    const parts = Object.entries(schema.properties || {}).filter(([key]) => (schema.required || []).includes(key));
    return Object.fromEntries(parts.map(([key, value]) => [key, example(value)]));
  }
  if (kind === "integer") return Math.max(schema.minimum || 0, 0);
  if (kind === "number") return 0.5;
  if (kind === "boolean") return true;
  return schema.pattern ? "pump-7" : "";
}

// A schema as one line of text.
function words(schema) {
  const name = named(schema);
  if (name) return name;
  if (schema.anyOf) return [...new Set(schema.anyOf.map(words))].join(" or ");
  const kinds = [schema.type || "any value"].flat();
  return kinds.map((kind) => {
    if (kind === "array") {
      const size = schema.minItems !== undefined && schema.minItems === schema.maxItems
        ? `${schema.minItems} × ` : "list of ";
      return size + words(schema.items || {});
    }
    if (kind === "object" && schema.properties) {
      return `{${Object.entries(schema.properties).map(([key, value]) => `${key}: ${words(value)}`).join(", ")}}`;
    }
    if (schema.contentEncoding) return `${schema.contentEncoding} text`;
    return kind === "string" ? "text" : kind;
  }).join(" or ");
}

function definition(name, schema) {
  const body = make("dl", { class: "fields" });
  if (schema.properties) {
    for (const [key, value] of Object.entries(schema.properties)) {
      const optional = (schema.required || []).includes(key) ? "" : " (optional)";
      const note = resolve(value).description;
      body.append(make("div", {}, make("dt", {}, make("code", {}, key), optional),
        make("dd", {}, words(value), note && !named(value) ? make("span", { class: "quiet" }, ` ${note}`) : "")));
    }
  } else {
    body.append(make("div", {}, make("dt", {}, "Value"), make("dd", {}, words(schema))));
  }
  return make("details", { id: `schema-${name}` }, make("summary", {}, make("code", {}, name)), body);
}

function operation(path, method, shared, action) {
  const parameters = [...(shared || []), ...(action.parameters || [])].map(resolve);
  const fields = parameters.map((parameter) => field(action.operationId, parameter));
  const form = make("form", { class: "try" });
  for (const { box } of fields) form.append(box);
  let body = null;
  if (action.requestBody) {
    const schema = action.requestBody.content["application/json"].schema;
    const id = `${action.operationId}-body`;
    body = make("textarea", { id, rows: "6", spellcheck: "false" });
    body.value = JSON.stringify(example(schema), null, 2);
    form.append(make("label", { for: id }, "Body: ", reference(schema)), body);
  }
  const command = make("pre", { tabindex: "0", "aria-label": "The request as a curl command" });
  const output = make("div", { role: "status" });
  form.append(make("button", {}, "Send"), command, output);

  const target = () => fields.reduce(
    (text, { name, input }) => text.replace(`{${name}}`, encodeURIComponent(input.value)), path);
  const describe = () => { command.textContent = curl(method, target(), body?.value); };
  form.addEventListener("input", describe);
  describe();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await run(method, target(), body?.value, output);
  });

  const replies = Object.entries(action.responses).map(([status, reply]) => {
    const { description, content } = resolve(reply);
    const schema = content?.["application/json"]?.schema;
    return make("div", {}, make("dt", {}, status), make("dd", {}, description, " ",
      schema ? reference(schema) : ""));
  });
  const summary = make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()),
    " ", make("code", {}, path), make("span", { class: "quiet what" }, action.summary));
  return make("details", { class: "operation", id: action.operationId }, summary, form,
    make("h4", {}, "Replies"), make("dl", { class: "fields" }, ...replies));
}

function reference(schema) {
  const name = named(schema);
  if (!name) return words(schema);
  const link = make("a", { href: `#schema-${name}` }, name);
  link.addEventListener("click", () => { part(`schema-${name}`).open = true; });
  return link;
}

function field(operationId, parameter) {
  const id = `${operationId}-${parameter.name}`;
  const input = make("input", { id, required: "", autocomplete: "off", spellcheck: "false" });
  input.value = parameter.example ?? "";
  const label = make("label", { for: id }, parameter.name,
    make("span", { class: "quiet" }, ` ${parameter.description || ""}`));
  return { name: parameter.name, input, box: make("div", {}, label, input) };
}

function curl(method, path, body) {
  const url = new URL(path.slice(1), document.baseURI).href;
  const parts = [`curl -X ${method.toUpperCase()} ${url}`];
  if (api.security) parts.push(`-H "Authorization: Bearer $TOKEN"`);
  if (body !== undefined) {
    let compact = body;
    try { compact = JSON.stringify(JSON.parse(body)); } catch { /* still being typed */ }
    parts.push(`-H "Content-Type: application/json" -d '${compact.replaceAll("'", String.raw`'\''`)}'`);
  }
  return parts.join(" \\\n  ");
}

async function run(method, path, body, output) {
  const start = performance.now();
  try {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const response = await send(path.slice(1), { method: method.toUpperCase(), headers, body });
    const took = performance.now() - start;
    const text = await response.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON */ }
    output.replaceChildren(
      make("p", { class: response.ok ? "good" : "bad" }, `Status ${response.status}, ${took.toFixed(1)} ms`),
      make("pre", { tabindex: "0", "aria-label": "The reply" }, shown));
  } catch (error) {
    output.replaceChildren(make("p", { class: "bad" }, `The service does not reply: ${error.message}`));
  }
}

// Paragraphs, with code between backticks.
function prose(text) {
  return text.trim().split(/\n\n+/).map((paragraph) => make("p", {},
    ...paragraph.split("`").map((piece, i) => (i % 2 ? make("code", {}, piece) : piece))));
}

async function start() {
  try {
    api = await get("openapi.json");
  } catch (error) {
    part("problem").textContent = error.message;
    return;
  }
  part("raw").hidden = Boolean(sessionStorage.getItem("token")); // a link cannot send it
  part("title").textContent = api.info.title;
  document.title = `API · ${api.info.title}`;
  part("description").append(...prose(api.info.description));
  const groups = new Map();
  for (const [path, { parameters, ...operations }] of Object.entries(api.paths)) {
    for (const [method, action] of Object.entries(operations)) {
      const tag = action.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, parameters, action));
    }
  }
  for (const [tag, operations] of groups) {
    const id = `group-${tag}`;
    part("groups").append(make("section", { "aria-labelledby": id },
      make("h2", { id }, TITLES[tag] || tag), ...operations));
  }
  const schemas = Object.entries(api.components.schemas);
  part("schemas").append(...schemas.map(([name, schema]) => definition(name, schema)));
  part("models").hidden = false;
}

start();
