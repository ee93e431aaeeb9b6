/** How often a slow stream is given its next bytes. */
const DRIP_MS = 20;

/** What a hang and a slow network do to everything that is sent. One for the whole server. */
export class SimulatedValve {
  #opened: Promise<void> | undefined;
  #open: (() => void) | undefined;
  #hang: NodeJS.Timeout | undefined;
  #slow: NodeJS.Timeout | undefined;
  #bytesPerSecond = Number.POSITIVE_INFINITY;

  /** Says nothing for so long; a hang under way is prolonged. */
  hang(milliseconds: number): void {
    clearTimeout(this.#hang);
    this.#opened ??= new Promise((resolve) => (this.#open = resolve));
    this.#hang = setTimeout(() => this.#endHang(), milliseconds);
  }

  /** Gives every stream and LIST at most so many bytes a second, for so long. */
  slow(bytesPerSecond: number, milliseconds: number): void {
    clearTimeout(this.#slow);
    this.#bytesPerSecond = bytesPerSecond;
    this.#slow = setTimeout(() => (this.#bytesPerSecond = Number.POSITIVE_INFINITY), milliseconds);
  }

  /** Ends what is under way. */
  close(): void {
    clearTimeout(this.#slow);
    this.#bytesPerSecond = Number.POSITIVE_INFINITY;
    this.#endHang();
  }

  /** Undefined, or when the hang ends. */
  get opened(): Promise<void> | undefined {
    return this.#opened;
  }

  /** Bytes a stream may be given now, after which it waits for `drip`; at least one. */
  get bytesAtOnce(): number {
    return Math.max(1, Math.floor((this.#bytesPerSecond * DRIP_MS) / 1000));
  }

  get isSlow(): boolean {
    return Number.isFinite(this.#bytesPerSecond);
  }

  drip(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, DRIP_MS));
  }

  #endHang(): void {
    clearTimeout(this.#hang);
    this.#opened = undefined;
    this.#open?.();
    this.#open = undefined;
  }
}
