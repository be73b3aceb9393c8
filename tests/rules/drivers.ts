/**
 * Drivers are named `<Tech><Port>`, and only composition roots and tests build them: anybody else who imports
 * one for more than its type could construct it. The names are all that this rule needs.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "@swc/core";

const DRIVER =
  /^(?:open|create|start|connect)?(?:Amqp|Embedded|Pg|Postgres|Redis|Bull|File|Memory|Pkcs11|Transit|Kms|Directory|S3)[A-Z]/;

export interface DriverImport {
  readonly specifier: string;
  readonly name: string;
}

/** Drivers that a source imports by name, as values, from other packages of ours. */
export function driverImports(root: string, file: string): DriverImport[] {
  const { body } = parseSync(readFileSync(join(root, file), "utf8"), {
    syntax: "typescript",
    target: "es2022",
  });
  return body.flatMap((item) => {
    if (item.type !== "ImportDeclaration" || item.typeOnly) return [];
    const specifier = item.source.value;
    if (!specifier.startsWith("@linkspan/")) return [];
    return item.specifiers.flatMap((imported) => {
      if (imported.type !== "ImportSpecifier" || imported.isTypeOnly) return [];
      const name = imported.imported?.value ?? imported.local.value;
      return DRIVER.test(name) ? [{ specifier, name }] : [];
    });
  });
}
