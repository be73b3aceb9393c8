/** How many messages each way a run has. */
const told = process.env.CHAOS_MESSAGES;

/** Of the one run that is long whenever the tests run. */
export const LONG = Number(told ?? 1_000);
/** Of the others: the same kills and the same checks. `CHAOS_MESSAGES` makes them as long. */
export const SHORT = Number(told ?? 300);
