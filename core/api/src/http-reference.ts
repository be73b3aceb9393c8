/** The HTTP reference, docs/http.md, from the OpenAPI document: every route with its members, then every named schema. */

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly format?: string;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description?: string; readonly content?: Content }>>;
  readonly "x-linkspan-roles"?: readonly string[];
}

export interface OpenApi {
  readonly info: { readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

/** The text that swagger writes when a route has no description. */
const NO_WORDS = "Default Response";

export function httpReference({ info, paths, components }: OpenApi): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      title: `${method.toUpperCase()} ${path}`,
      operation,
    })),
  );
  const byTag = Map.groupBy(operations, ({ operation }) => operation.tags[0] ?? "other");
  const parts = [
    "# HTTP reference",
    "Generated from the routes' schemas by `npx node core/api/src/write-openapi.ts`; do not edit. A running API serves the same as an OpenAPI document at `/openapi.json`.",
    info.description,
    "Every answer of 400 or more is a [Problem](#problem); [problems.md](problems.md) explains each code. Members with `?` may be absent.",
  ];
  for (const [tag, members] of [...byTag].toSorted(([one], [other]) => one.localeCompare(other))) {
    parts.push(`## ${titled(tag)}`);
    for (const { title, operation } of members) parts.push(route(title, operation));
  }
  parts.push("## Schemas");
  for (const [name, schema] of Object.entries(components.schemas)) {
    parts.push(`### ${name}`, block(shape(schema, 0)));
  }
  return `${parts.join("\n\n")}\n`;
}

function route(title: string, operation: Operation): string {
  const { summary, description, parameters = [], requestBody, responses } = operation;
  const roles = operation["x-linkspan-roles"];
  const parts = [
    `### ${title}`,
    `${summary}.${description === undefined ? "" : ` ${description}`}`,
    roles === undefined ? "Open: no token is needed." : `Roles: ${roles.join(", ")}.`,
  ];
  if (parameters.length > 0) parts.push(parameters.map(parameter).join("\n"));
  for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
    if (schema !== undefined) parts.push(`Body, \`${type}\`:`, block(shape(schema, 0)));
  }
  for (const [status, { description: words, content = {} }] of Object.entries(responses)) {
    if (/^[45]XX$/.test(status)) continue;
    parts.push(...answer(status, words === NO_WORDS ? undefined : words, content));
  }
  return parts.join("\n\n");
}

function answer(status: string, words: string | undefined, content: Content): string[] {
  const types = Object.entries(content);
  const said = words === undefined ? "" : ` (${words})`;
  if (types.length === 0) return [`Answers ${status}${said}.`];
  return types.flatMap(([type, { schema = {} }]) => {
    const head = `Answers ${status}, \`${type}\`${said}`;
    const name = nameOf(schema);
    if (name !== undefined) return [`${head}: [${name}](#${name.toLowerCase()})`];
    return schema.properties === undefined ? [`${head}.`] : [`${head}:`, block(shape(schema, 0))];
  });
}

function parameter({ name, in: place, required = false, description, schema }: Parameter): string {
  const words = description === undefined ? "" : `: ${description}`;
  return `- ${place} \`${name}${required ? "" : "?"}\`, ${shape(schema, 0)}${words}`;
}

/** A schema, written like a type. */
function shape(schema: Schema, depth: number): string {
  const name = nameOf(schema);
  if (name !== undefined) return name;
  const options = schema.anyOf ?? schema.oneOf;
  if (options !== undefined) return options.map((option) => shape(option, depth)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return values(schema.enum);
  if (schema.items !== undefined) return `[${shape(schema.items, depth)}, …]`;
  if (schema.properties !== undefined) return members(schema, depth);
  if (schema.type === undefined) return "any";
  return `${String(schema.type)}${bounds(schema)}`;
}

function members(schema: Schema, depth: number): string {
  const indent = "  ".repeat(depth + 1);
  const required = new Set(schema.required);
  const lines = Object.entries(schema.properties ?? {}).map(([name, member]) => {
    const note = member.description === undefined ? "" : `  // ${member.description}`;
    return `${indent}${name}${required.has(name) ? "" : "?"}: ${shape(member, depth + 1)}${note}`;
  });
  return lines.length === 0 ? "{}" : `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
}

/** The error codes have a page of their own. */
function values(all: readonly unknown[]): string {
  if (all.includes("envelope.malformed")) return "error code";
  return all.map((value) => JSON.stringify(value)).join(" | ");
}

function bounds({ format, minimum, maximum, maxLength, default: standard }: Schema): string {
  const said = [
    ...(format === undefined ? [] : [format]),
    ...(minimum === undefined || Math.abs(minimum) === Number.MAX_SAFE_INTEGER ? [] : [`≥ ${minimum}`]),
    ...(maximum === undefined || maximum === Number.MAX_SAFE_INTEGER ? [] : [`≤ ${maximum}`]),
    ...(maxLength === undefined ? [] : [`at most ${maxLength}`]),
    ...(standard === undefined ? [] : [`default ${JSON.stringify(standard)}`]),
  ];
  return said.length === 0 ? "" : ` (${said.join(", ")})`;
}

function nameOf({ $ref }: Schema): string | undefined {
  return $ref?.slice($ref.lastIndexOf("/") + 1);
}

function titled(tag: string): string {
  return `${tag.charAt(0).toUpperCase()}${tag.slice(1)}`;
}

function block(text: string): string {
  return `\`\`\`\n${text}\n\`\`\``;
}
