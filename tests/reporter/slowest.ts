/** Prints, at the end of a run, the files and the cases that took longest. */
import { relative } from "node:path";
import type { Reporter, TestModule } from "vitest/node";

const COUNT = 10;

interface Timed {
  readonly name: string;
  readonly tookMs: number;
}

/** The longest first. Hooks count towards a file, not towards a case. */
export function slowest(all: readonly Timed[], count: number = COUNT): readonly Timed[] {
  return all.toSorted((a, b) => b.tookMs - a.tookMs).slice(0, count);
}

export function table(title: string, rows: readonly Timed[]): string {
  const lines = rows.map(({ name, tookMs }) => `${(tookMs / 1_000).toFixed(1).padStart(8)} s  ${name}`);
  return [title, ...lines, ""].join("\n");
}

export class SlowestReporter implements Reporter {
  readonly #print: (text: string) => void;

  constructor(print: (text: string) => void = (text) => void process.stdout.write(text)) {
    this.#print = print;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const nameOf = ({ project, moduleId }: TestModule): string =>
      `${project.name} ${relative(project.vitest.config.root, moduleId)}`;
    const files = modules.map((module) => ({ name: nameOf(module), tookMs: module.diagnostic().duration }));
    const cases = modules.flatMap((module) =>
      [...module.children.allTests()].map((test) => ({
        name: `${nameOf(module)} > ${test.fullName}`,
        tookMs: test.diagnostic()?.duration ?? 0,
      })),
    );
    this.#print(`${table("\nslowest files", slowest(files))}${table("\nslowest cases", slowest(cases))}\n`);
  }
}
