/**
 * The port of the places that hold media. A store sees sealed bytes and random names only: it does not know whose an
 * object is, nor what is in it.
 *
 * Obligations of every driver; `contract/media-store-cases.ts` tests them:
 *
 * - An object is there as a whole or not at all: a put that fails, is given up or ends with the process leaves nothing
 *   that `read` or `size` shows.
 * - After `put` has resolved, the object survives a crash of this process and of the machine.
 * - Nothing is held in memory as a whole; the source is read only as fast as it is stored.
 */
export interface MediaStore extends AsyncDisposable {
  /**
   * Stores everything that the source gives. Two puts of one name never happen: names are random.
   *
   * @param object 1 to 64 characters of base64url
   * @throws what the source throws; FabricError `media.unavailable`
   */
  put(object: string, source: AsyncIterable<Uint8Array>): Promise<void>;

  /**
   * Reads the bytes `from` to `to`, both included. Ending the iteration early frees everything. A stored object that
   * is shorter gives what there is.
   *
   * @throws FabricError `media.damaged` when there is no such object, `media.unavailable`
   */
  read(object: string, from: number, to: number): AsyncIterable<Uint8Array>;

  /** @returns stored bytes; undefined when there is no such object. @throws FabricError `media.unavailable` */
  size(object: string): Promise<number | undefined>;

  /** An object that is not there counts as deleted. @throws FabricError `media.unavailable` */
  delete(object: string): Promise<void>;

  /**
   * Removes what puts left that ended with their process.
   *
   * @param before only those that began, or were last written, before this time
   * @returns how many
   * @throws FabricError `media.unavailable`
   */
  sweep(before: Date): Promise<number>;

  /** @throws FabricError `media.unavailable` when objects cannot be stored or read now */
  check(): Promise<void>;
}
