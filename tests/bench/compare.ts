/** Two ways of doing the same, in turn: A B B A A B …, so that a machine that drifts drifts for both. */

export interface Run {
  /** Messages per second. */
  readonly rate: number;
}

export interface Comparison {
  readonly name: string;
  /** Ours over the yardstick: median of the pairs. */
  readonly ratio: number;
  readonly min: number;
  readonly max: number;
  /** Median rate of ours. */
  readonly median: number;
  readonly yardstick: number;
  readonly unit: string;
  readonly floor: number;
}

export interface Contest {
  readonly name: string;
  /** Below this the run fails. */
  readonly floor: number;
  readonly ours: () => Promise<Run>;
  readonly yardstick: () => Promise<Run>;
}

export async function compare(contest: Contest, pairs: number): Promise<Comparison> {
  const ratios: number[] = [];
  const rates: number[] = [];
  const yardsticks: number[] = [];
  // Twice, because the larger program of the two needs longer until it is compiled; neither ends after seconds in use.
  for (let run = 0; run < 2; run++) {
    await contest.yardstick();
    await contest.ours();
  }
  for (let pair = 0; pair < pairs; pair++) {
    const first = pair % 2 === 0 ? contest.ours : contest.yardstick;
    const second = pair % 2 === 0 ? contest.yardstick : contest.ours;
    const a = await first();
    const b = await second();
    const [ours, yardstick] = pair % 2 === 0 ? [a, b] : [b, a];
    ratios.push(ours.rate / yardstick.rate);
    rates.push(ours.rate);
    yardsticks.push(yardstick.rate);
  }
  return {
    name: contest.name,
    ratio: round(median(ratios), 3),
    min: round(Math.min(...rates)),
    max: round(Math.max(...rates)),
    median: round(median(rates)),
    yardstick: round(median(yardsticks)),
    unit: "messages/s",
    floor: contest.floor,
  };
}

/** Times `work` over `count` messages. */
export async function timed(count: number, work: () => Promise<void>): Promise<Run> {
  const from = performance.now();
  await work();
  return { rate: count / ((performance.now() - from) / 1_000) };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function round(value: number, digits = 0): number {
  return Number(value.toFixed(digits));
}
