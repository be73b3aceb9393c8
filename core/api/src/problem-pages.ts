/**
 * A page for each error code; the `type` of a problem links to it. It says what the code means, who caused
 * it, and whether a retry helps. As HTML, as plain text and, all codes together, as Markdown for
 * docs/problems.md.
 */
import { type Blamed, CODES, type ErrorCode, type Retry } from "@linkspan/envelopes";
import { problemPath, statusOf } from "./problem.ts";

export const RETRY: Readonly<Record<Retry, string>> = {
  never: "No: the same input fails again.",
  backoff: "Yes, each time after a longer wait. Linkspan does so by itself where it keeps the message.",
  after: "Yes, after the time that came with it: `Retry-After` in seconds, `retry_after_ms` in milliseconds.",
};

/** Codes to which the sentence of their retry rule does not apply. */
const RETRY_OF: Partial<Readonly<Record<ErrorCode, string>>> = {
  "bus.unroutable":
    "Yes, once the queue exists. Linkspan tries intents again by itself. A single request is not repeated automatically.",
};

export const CAUSE: Readonly<Record<Blamed, string>> = {
  message: "The content of the message or request. It fails everywhere and always, and may be given up.",
  surroundings:
    "The surroundings, such as an outage, a lost lease or a feature that is off, and not the content of the message.",
};

interface Row {
  readonly term: string;
  readonly text: string;
}

function rowsOf(code: ErrorCode): Row[] {
  const { help, blame, retry } = CODES[code];
  return [
    { term: "Help", text: help },
    { term: "What causes it", text: CAUSE[blame] },
    { term: "Does trying again help", text: RETRY_OF[code] ?? RETRY[retry] },
    { term: "HTTP status", text: String(statusOf(code)) },
  ];
}

/** Forbids the page to load resources, to run scripts and to be framed. */
export const PAGE_HEADERS = {
  "content-security-policy":
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  vary: "accept",
} as const;

export function problemText(code: ErrorCode): string {
  return `${code}\n\n${rowsOf(code)
    .map(({ term, text }) => `${term}: ${text}\n`)
    .join("")}`;
}

export function problemHtml(code: ErrorCode): string {
  const rows = rowsOf(code).map(({ term, text }) => `<dt>${escaped(term)}</dt><dd>${withCode(text)}</dd>`);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escaped(code)} – Linkspan</title></head>
<body>
<h1><code>${escaped(code)}</code></h1>
<dl>
${rows.join("\n")}
</dl>
</body>
</html>
`;
}

/** The whole of docs/problems.md. */
export function problemsMarkdown(): string {
  const codes = Object.keys(CODES) as ErrorCode[];
  const index = codes.map((code) => `- [\`${code}\`](#${anchorOf(code)})`);
  const pages = codes.map((code) => {
    const rows = rowsOf(code).map(({ term, text }) => `- ${term}: ${text}`);
    return `## ${code}\n\n${rows.join("\n")}`;
  });
  const head = [
    "# Error codes",
    "Generated from `envelopes/src/errors/errors.ts` by `npx node core/api/src/write-openapi.ts`; do not edit.",
    `A problem's \`type\` is a path of the API that answered, such as \`${problemPath("intent.conflict")}\`; there is the same page for one code. Branch on \`code\`, never on text.`,
    index.join("\n"),
  ];
  return `${[...head, ...pages].join("\n\n")}\n`;
}

/** GitHub's anchor for a heading that is a code. */
export function anchorOf(code: string): string {
  return code.replaceAll(".", "");
}

function withCode(text: string): string {
  return escaped(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}
