import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type Control, ControlConflict, type ControlEntry, ControlUnavailable } from './control.ts';
import { Silence } from './silence.ts';

const MEMBERS = 'member/';
const RENEW_MS = 1_000;
const RETRY_MS = 250;
const GONE_MS = 3_000;
const JUDGE_MS = 250;
/** Our own renewals come back at least this often, or the table is taken to be away. */
const OWN_GAP_MS = 2_000;
/** Entries of those that died are removed by whoever notices, once nobody can be waiting for them. */
const FORGET_MS = 600_000;

/** What a member says of itself. */
export interface MemberEntry {
  /** Milliseconds since 1970; differs between two processes of one name. */
  readonly started: number;
  readonly [detail: string]: unknown;
}

export interface MembershipOptions {
  readonly control: Control;
  readonly clock: Clock;
  readonly log: Log;
  /** `ingest`, `shard`, `fanout`. */
  readonly role: string;
  /** Nobody else of this role may have it. */
  readonly name: string;
  /** Asked at every renewal; JSON. */
  readonly details: () => object;
}

interface Member {
  readonly role: string;
  readonly name: string;
  readonly entry: MemberEntry;
  readonly version: number;
  readonly heardAt: number;
  alive: boolean;
  forgetting: boolean;
}

/**
 * Tells the others that this process lives, every second, and knows which of them do. A member is gone when its entry
 * is removed, or after 3 s without a renewal, by our clock; while our own renewals do not come back all stay as they
 * were. A process that just began takes all it finds for alive.
 */
export class Membership implements Service {
  readonly name: string;
  readonly #options: MembershipOptions;
  readonly #key: string;
  readonly #started: number;
  readonly #silence: Silence;
  readonly #members = new Map<string, Member>();
  readonly #listeners = new Set<(role: string) => void>();
  /** Of the last entry of our own known to be in the table. */
  #version = 0;
  #rivalSeen = false;

  constructor(options: MembershipOptions) {
    const { clock, role, name } = options;
    this.#options = options;
    this.name = name;
    this.#key = `${MEMBERS}${role}/${name}`;
    this.#started = Math.floor(clock.wall());
    this.#silence = new Silence(clock, OWN_GAP_MS);
  }

  /** Members of a role, sorted by name; all processes that see the same have the same order. */
  alive(role: string): readonly string[] {
    return [...this.#members.values()]
      .filter((member) => member.alive && member.role === role)
      .map(({ name }) => name)
      .toSorted();
  }

  /** What a member that is alive last said of itself. */
  entry(role: string, name: string): MemberEntry | undefined {
    const member = this.#members.get(`${MEMBERS}${role}/${name}`);
    return member?.alive === true ? member.entry : undefined;
  }

  /** Calls `listener` when a member of a role has come, gone or begun anew; returns how to stop. */
  onChange(listener: (role: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Is a member until `signal` aborts, then takes its entry out of the table. */
  async run(signal: AbortSignal): Promise<void> {
    const { control, clock } = this.#options;
    const stopWatching = control.watch(MEMBERS, (key, entry) => this.#onEntry(key, entry));
    for (const [key, entry] of control.entries(MEMBERS)) this.#onEntry(key, entry);
    const stopDisturbed = control.onDisturbed(() => this.#silence.disturbed());
    const judging = clock.setInterval(() => this.#judge(), JUDGE_MS);
    try {
      while (!signal.aborted) await sleep(clock, (await this.#renew()) ? RENEW_MS : RETRY_MS, signal);
    } finally {
      judging.cancel();
      stopWatching();
      stopDisturbed();
    }
    await this.#remove(this.#key, this.#version);
  }

  async #renew(): Promise<boolean> {
    const { control, log, details } = this.#options;
    try {
      const version = await control.put(this.#key, { ...details(), started: this.#started });
      this.#version = Math.max(this.#version, version);
      return true;
    } catch (error) {
      if (!(error instanceof ControlUnavailable)) throw error;
      log.debug({ err: error }, 'cannot tell the others that this process lives');
      return false;
    }
  }

  #onEntry(key: string, entry: ControlEntry | undefined): void {
    const said = entry?.value;
    const before = this.#members.get(key);
    if (entry === undefined || !isMemberEntry(said)) {
      this.#members.delete(key);
      if (before?.alive === true) this.#tell(before.role);
      return;
    }
    if (key === this.#key) this.#onOwn(said.started, entry.version);
    const [role = '', ...rest] = key.slice(MEMBERS.length).split('/');
    const { version } = entry;
    const heardAt = this.#options.clock.now();
    this.#members.set(key, {
      role,
      name: rest.join('/'),
      entry: said,
      version,
      heardAt,
      alive: true,
      forgetting: false,
    });
    if (before?.alive !== true || before.entry.started !== said.started) this.#tell(role);
  }

  #onOwn(started: number, version: number): void {
    const { log, role, name } = this.#options;
    if (started === this.#started) {
      this.#version = Math.max(this.#version, version);
      this.#silence.proved();
    } else if (this.#version > 0 && version > this.#version && !this.#rivalSeen) {
      this.#rivalSeen = true;
      log.error({ role, name }, `another ${role} runs under the name ${name}: give each its own with --name`);
    }
  }

  #judge(): void {
    for (const [key, member] of this.#members) {
      const silentMs = this.#silence.of(member.heardAt);
      if (member.alive && silentMs >= GONE_MS) {
        member.alive = false;
        this.#options.log.warn({ role: member.role, name: member.name }, 'a member is gone: it was not heard for 3 s');
        this.#tell(member.role);
      } else if (silentMs >= FORGET_MS && !member.forgetting) {
        member.forgetting = true;
        void this.#remove(key, member.version);
      }
    }
  }

  async #remove(key: string, version: number): Promise<void> {
    try {
      await this.#options.control.remove(key, version);
    } catch (error) {
      // It was put again, or it stays until somebody forgets it.
      if (!(error instanceof ControlConflict || error instanceof ControlUnavailable)) throw error;
      this.#options.log.debug({ key, err: error }, 'an entry of a member was not removed');
    }
  }

  #tell(role: string): void {
    for (const listener of Array.from(this.#listeners)) listener(role);
  }
}

function isMemberEntry(value: unknown): value is MemberEntry {
  return typeof value === 'object' && value !== null && 'started' in value && typeof value.started === 'number';
}
