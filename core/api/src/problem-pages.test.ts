import { CODES, type ErrorCode } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { anchorOf, problemHtml, problemsMarkdown, problemText } from "./problem-pages.ts";
import { statusOf } from "./problem.ts";

const codes = Object.keys(CODES) as ErrorCode[];

test.each(codes)("%s has a page in each form", (code) => {
  const { help } = CODES[code];
  const text = problemText(code);
  expect(text.startsWith(`${code}\n`)).toBe(true);
  expect(text).toContain(help);
  expect(text).toContain(`HTTP status: ${statusOf(code)}\n`);

  const html = problemHtml(code);
  expect(html).toContain(`<h1><code>${code}</code></h1>`);
  expect(html).not.toMatch(/<(?:script|link|img|style|iframe)\b|\b(?:src|href|style|on\w+)=/i);
});

test("all codes are in the list and have a section that the list leads to", () => {
  const markdown = problemsMarkdown();
  const sections = markdown.match(/^## .+$/gm) ?? [];
  expect(sections).toEqual(codes.map((code) => `## ${code}`));
  for (const code of codes) expect(markdown).toContain(`- [\`${code}\`](#${anchorOf(code)})`);
});

test("what a help sentence quotes is code in HTML, and no sign of it is markup", () => {
  expect(problemHtml("vault.unavailable")).toContain("<code>linkspan doctor</code>");
  for (const code of codes) {
    const [, body = ""] = problemHtml(code).split("<dl>");
    expect(body.replace(/<\/?(?:dl|dt|dd|code|body|html)>/g, "")).not.toMatch(/[<>"']/);
  }
});
