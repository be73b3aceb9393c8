/** `npm run imports`: prints every broken import rule, a line each. */
import { checkImports } from "./import-rules.ts";

const root = process.argv[2] ?? process.cwd();
const { files, imports, violations } = await checkImports(root);
for (const { rule, from, detail } of violations) console.error(`${from}: [${rule}] ${detail}`);
console.log(`imports: ${files} files, ${imports} imports, ${violations.length} violations`);
process.exitCode = violations.length === 0 ? 0 : 1;
