/**
 * Links of the repository's Markdown: a relative one leads to a file or folder that is there, and its anchor to a
 * heading in it. Links to other hosts are not looked at; code is no link.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { sourceFiles } from "./sources.ts";

const LINK = /\[(?:[^\][]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g;
const DEFINITION = /^\[[^\]]+\]:\s*<?(\S+?)>?\s*$/gm;
const ELSEWHERE = /^(?:[a-z][a-z0-9+.-]*:|\/\/)/i;

/** @returns `file: target what is wrong`, for each */
export function brokenLinks(root: string): string[] {
  const anchors = new Map<string, ReadonlySet<string>>();
  const anchorsOf = (file: string): ReadonlySet<string> => {
    const known = anchors.get(file) ?? anchorsIn(readFileSync(join(root, file), "utf8"));
    anchors.set(file, known);
    return known;
  };
  return sourceFiles(root, "*.md").flatMap((file) =>
    linksIn(readFileSync(join(root, file), "utf8")).flatMap((link) => {
      const fault = faultOf(root, file, link, anchorsOf);
      return fault === undefined ? [] : [`${file}: ${link} ${fault}`];
    }),
  );
}

function faultOf(
  root: string,
  file: string,
  link: string,
  anchorsOf: (file: string) => ReadonlySet<string>,
): string | undefined {
  const [path = "", anchor] = link.split("#", 2).map(decodeURIComponent);
  if (path.startsWith("/")) return "is a path of one machine";
  const target = path === "" ? file : normalize(join(dirname(file), path));
  if (target.startsWith("..")) return "leaves the repository";
  if (!existsSync(join(root, target))) return "is not there";
  if (anchor === undefined || anchor === "" || !target.endsWith(".md")) return undefined;
  if (statSync(join(root, target)).isDirectory()) return "is a folder, which has no headings";
  return anchorsOf(target).has(anchor) ? undefined : "has no such heading";
}

export function linksIn(markdown: string): string[] {
  const prose = withoutCode(markdown);
  return [...prose.matchAll(LINK), ...prose.matchAll(DEFINITION)]
    .map(([, target = ""]) => target)
    .filter((target) => !ELSEWHERE.test(target));
}

/** Anchors as GitHub makes them of headings; a second heading of the same words gets `-1`, and so on. */
export function anchorsIn(markdown: string): ReadonlySet<string> {
  const counts = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ""] of withoutFences(markdown).matchAll(/^#{1,6}\s+(.*?)\s*#*$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1");
    const slug = plain
      .toLowerCase()
      .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, "")
      .replaceAll(" ", "-");
    const count = counts.get(slug) ?? 0;
    counts.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

function withoutFences(markdown: string): string {
  return markdown.replace(/^( {0,3})(`{3,}|~{3,})[^\n]*\n[\s\S]*?^ {0,3}\2[^\n]*$/gm, "");
}

function withoutCode(markdown: string): string {
  return withoutFences(markdown)
    .replace(/(?<=\n\n)(?: {4}|\t)[^\n]*(?:\n(?: {4}|\t)[^\n]*)*/g, "")
    .replace(/(`+)(?!`)[\s\S]*?[^`]\1(?!`)/g, "");
}
