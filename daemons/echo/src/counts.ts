/**
 * How many messages an account has said in each channel, in durable rows: kept before the message leaves, so that the
 * number that the platform is told never goes back, whoever is killed.
 */
import type { Rows } from "@linkspan/daemon-kit";

export class Counts {
  readonly #rows: Rows;
  readonly #counts: Map<string, number>;

  private constructor(rows: Rows, counts: Map<string, number>) {
    this.#rows = rows;
    this.#counts = counts;
  }

  /** @throws FabricError what the rows cannot be loaded for */
  static async load(rows: Rows): Promise<Counts> {
    const loaded = await rows.load();
    const counts = [...loaded].map(
      ([channel, count]) => [channel, Number(Buffer.from(count).toString("latin1"))] as const,
    );
    return new Counts(rows, new Map(counts));
  }

  /**
   * Counts a message. @returns the new number, once it is kept. @throws FabricError why it cannot be kept; then every
   *   later one throws, too
   */
  async next(channel: string): Promise<number> {
    const count = (this.#counts.get(channel) ?? 0) + 1;
    this.#counts.set(channel, count);
    await this.#rows.commit(new Map([[channel, Buffer.from(String(count), "latin1")]]));
    return count;
  }
}
