/**
 * Tells a publisher when its message is safe. One sending of a message may reach several queues, and a message may be sent
 * again after a lost connection: the publish is safe as soon as every copy of one sending is settled.
 */
export interface Publication {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Receipt {
  readonly #publication: Publication;
  #copies: number;

  constructor(publication: Publication, copies: number) {
    this.#publication = publication;
    this.#copies = copies;
  }

  settled(): void {
    if (--this.#copies === 0) this.#publication.resolve();
  }

  failed(error: Error): void {
    this.#publication.reject(error);
  }
}
