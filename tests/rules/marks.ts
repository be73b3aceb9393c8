/**
 * What must not be committed: paths of one machine, download addresses in the lockfile, tests switched off
 * or alone, checks switched off, and promises to do it later. Patterns are written so that they do not match themselves.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sourceFiles } from "./sources.ts";

interface Mark {
  readonly what: string;
  readonly pattern: RegExp;
  readonly files: RegExp;
}

const CODE = /\.(ts|mts|js|sh|ya?ml|json|sql)$|(^|\/)(install|run)$/;
const TEXT = /./;

const MARKS: readonly Mark[] = [
  { what: "a path of one machine", pattern: /(?<![\w.-])\/(?:work|root|Users|home\/\w+)\//, files: TEXT },
  { what: "a download address", pattern: /"resolved": "https?:/, files: /(^|\/)package-lock\.json$/ },
  { what: "a registry", pattern: /^\s*(?:@\S+:)?registry\s*=/m, files: /(^|\/)\.npmrc$/ },
  { what: "a test alone", pattern: /\b(?:it|test|describe|suite)\.only\b/, files: /\.ts$/ },
  { what: "a test for later", pattern: /\b(?:it|test|describe|suite)\.todo\b/, files: /\.ts$/ },
  { what: "a check switched off", pattern: /@ts-(?:ignore|nocheck)\b/, files: /\.ts$/ },
  { what: "a promise", pattern: /\b(?:TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b/, files: CODE },
];

/** Contents that others wrote, or that are made of arbitrary text. */
const NOT_OURS = /(^|\/)(vectors|fixtures|generated)\/|^LICENSE$|\.(png|svg|ico|pem|der|bin)$/;

/** @returns `file:line what`, for each */
export function forbiddenMarks(root: string): string[] {
  return sourceFiles(root)
    .filter((file) => !NOT_OURS.test(file))
    .flatMap((file) => {
      const marks = MARKS.filter(({ files }) => files.test(file));
      const lines = readFileSync(join(root, file), "utf8").split("\n");
      return lines.flatMap((line, index) =>
        marks.filter(({ pattern }) => pattern.test(line)).map(({ what }) => `${file}:${index + 1} ${what}`),
      );
    });
}
