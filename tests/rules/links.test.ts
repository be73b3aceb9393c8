import { join } from "node:path";
import { expect, test } from "vitest";
import { anchorsIn, brokenLinks, linksIn } from "./links.ts";
import { scratchRepository } from "./scratch.ts";

test("every link in this repository's documents leads somewhere", () => {
  expect(brokenLinks(join(import.meta.dirname, "../.."))).toEqual([]);
});

test.each([
  ["see [x](gone.md)", "gone.md is not there"],
  ["see [x](other.md#gone)", "other.md#gone has no such heading"],
  ["# Here\n\n[x](#there)", "#there has no such heading"],
  ["[x](../outside.md)", "../outside.md leaves the repository"],
  ["[x](/etc/hosts)", "/etc/hosts is a path of one machine"],
  ["[x][1]\n\n[1]: gone.md", "gone.md is not there"],
  ["| [a `b`](gone.md) |", "gone.md is not there"],
])("%j: %s", (text, fault) => {
  using scratch = scratchRepository();
  scratch.write("other.md", "# Other\n");
  scratch.write("a.md", `${text}\n`);
  expect(brokenLinks(scratch.root)).toEqual([`a.md: ${fault}`]);
});

test("what is right, elsewhere or code is no fault", () => {
  using scratch = scratchRepository();
  scratch.write("docs/other.md", "# Other things, and more\n\n## `code.x`\n\n## Twice\n\n## Twice\n");
  const links = "[a](docs) [b](docs/other.md#other-things-and-more) [c](docs/other.md#codex) [d](#a-b)";
  const more = "[e](docs/other.md#twice-1) [f](https://example.test/x) [g](mailto:a@example.test)";
  const code = "`[h](gone.md)`\n\n```md\n[i](gone.md)\n# No heading\n```\n\n    [j](gone.md)\n";
  scratch.write("a.md", `# A b\n\n${links} ${more}\n\n${code}`);
  expect(brokenLinks(scratch.root)).toEqual([]);
});

test("links and anchors are read as GitHub reads them", () => {
  expect(linksIn('[a](b.md "title") and ![picture](c.svg)')).toEqual(["b.md", "c.svg"]);
  expect([...anchorsIn("# A_b – c!\n## [Link](x.md) & more\n")]).toEqual(["a_b--c", "link--more"]);
});
