import { z } from "zod";
import { defineJob } from "../jobs.ts";

export const held = defineJob("test.held", z.strictObject({ n: z.int() }));
