/** Takes a job and never finishes it; its test kills this process, which also ends with its test. */
import { openJobs } from "../open.ts";
import { held } from "./held.ts";

const [url = "", queue = "", lockMs = ""] = process.argv.slice(2);
const nothing = () => undefined;
process.stdin.once("end", () => process.exit(1)).resume();
const jobs = await openJobs({ url, queue, lockMs: Number(lockMs), log: { info: nothing, warn: nothing } });
await jobs.work(held, () => {
  process.stdout.write("taken\n");
  return new Promise(() => undefined);
});
