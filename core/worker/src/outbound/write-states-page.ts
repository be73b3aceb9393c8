/** Writes docs/intents.md; run it after changing the table of states. */
import { writeFileSync } from "node:fs";
import { statesPage } from "./states-page.ts";

writeFileSync(new URL("../../../../docs/intents.md", import.meta.url), statesPage());
