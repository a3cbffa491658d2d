// Every address of this server, drawn from its own OpenAPI document. Text is only ever set as text.
const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// The schema a reference names; other schemas as they are.
function resolve(schema, schemas) {
  const name = schema?.$ref?.split("/").pop();
  return name ? { title: name, ...schemas[name] } : schema ?? {};
}

function typeOf(schema, schemas) {
  const found = resolve(schema, schemas);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  const choices = found.anyOf ?? found.oneOf;
  if (choices) return choices.map((choice) => typeOf(choice, schemas)).join(" | ");
  if (found.type === "array") return `${typeOf(found.items, schemas)}[]`;
  return found.type ?? found.title ?? "any";
}

function fieldTable(title, fields) {
  if (!fields.length) return [];
  const rows = fields.map((field) => make("tr", {},
    make("td", {}, make("code", { textContent: field.name }), field.required ? " (required)" : ""),
    make("td", { textContent: field.type }), make("td", { textContent: field.text ?? "" })));
  return [make("h3", { textContent: title }), make("table", {}, make("tbody", {}, ...rows))];
}

function bodyFields(operation, schemas) {
  const schema = resolve(operation.requestBody?.content?.["application/json"]?.schema, schemas);
  return Object.entries(schema.properties ?? {}).map(([name, each]) => ({
    name, required: schema.required?.includes(name), type: typeOf(each, schemas), text: each.description }));
}

function curl(path, method, operation, schemas) {
  const lines = [`curl ${location.origin}${path}`, `-H "x-api-key: $CCPROXY_TOKEN"`];
  if (method !== "get") lines.push(`-X ${method.toUpperCase()}`);
  if (operation.requestBody) {
    const required = bodyFields(operation, schemas).filter((field) => field.required);
    const example = Object.fromEntries(required.map((field) => [field.name, "…"]));
    lines.push('-H "content-type: application/json"', `-d '${JSON.stringify(example)}'`);
  }
  return lines.join(" \\\n  ");
}

function showOperation(path, method, operation, schemas) {
  const parameters = (operation.parameters ?? []).map((each) => ({
    name: each.name, required: each.required, type: `${typeOf(each.schema, schemas)}, in the ${each.in}`, text: each.description }));
  const body = make("div", { className: "body" });
  if (operation.description) body.append(make("p", { textContent: operation.description }));
  body.append(...fieldTable("Parameters", parameters), ...fieldTable("JSON body", bodyFields(operation, schemas)));
  body.append(make("h3", { textContent: "From a terminal" }), make("pre", { textContent: curl(path, method, operation, schemas), tabIndex: 0 }));
  const summary = make("summary", {}, make("span", { className: "method", textContent: method.toUpperCase() }),
    make("code", { textContent: path }), make("span", { className: "summary", textContent: operation.summary ?? "" }));
  const shown = make("details", {}, summary, body);
  shown.dataset.words = `${method} ${path} ${operation.summary ?? ""} ${operation.description ?? ""}`.toLowerCase();
  return shown;
}

function show(document) {
  $("version").textContent = document.info.version;
  const schemas = document.components?.schemas ?? {};
  const groups = new Map();
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags?.[0] ?? "other";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(showOperation(path, method, operation, schemas));
    }
  const sections = [...groups].map(([tag, shown]) => make("section", {}, make("h2", { textContent: tag }), ...shown));
  $("groups").replaceChildren(...sections);
}

function search() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let matches = 0;
  for (const section of $("groups").children) {
    let some = false;
    for (const shown of section.querySelectorAll("details")) {
      shown.hidden = !words.every((word) => shown.dataset.words.includes(word));
      some ||= !shown.hidden;
    }
    section.hidden = !some;
    matches += some;
  }
  $("nothing").hidden = matches > 0;
}

try {
  const reply = await fetch("/openapi.json");
  if (!reply.ok) throw new Error((await reply.json()).error.message);
  show(await reply.json());
  $("search").addEventListener("input", search);
} catch (error) {
  $("problem").textContent = `The list of addresses could not be read: ${error.message}`;
  $("problem").hidden = false;
}
