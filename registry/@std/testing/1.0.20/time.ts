// deno-coverage-ignore-file
// deno-lint-ignore-file no-explicit-any
/**
 * Stand-in for jsr:@std/testing/time: a clock that stands still until a test moves it. The npm copy does not
 * carry this module, so it is written anew with the real signatures.
 *
 * @module
 */

interface Timer {
  id: number;
  due: number;
  interval: number | undefined;
  run: () => void;
}

const real = {
  Date,
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
};
let active: FakeTime | undefined;

/** Time was faked twice, or restored without being faked. */
export class TimeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TimeError";
  }
}

/** Replaces Date and the timers of the global scope until it is restored. */
export class FakeTime {
  #now: number;
  #start: number;
  #nextId = 1;
  #timers = new Map<number, Timer>();

  constructor(start?: number | string | Date | null) {
    if (active) throw new TimeError("Cannot construct FakeTime: time is already faked");
    this.#start = this.#now = new real.Date(start ?? real.Date.now()).valueOf();
    if (Number.isNaN(this.#now)) throw new TimeError(`Cannot construct FakeTime: invalid start ${start}`);
    const clock = () => this.#now;
    const add = (repeat: boolean) => (callback: (...args: any[]) => void, delay = 0, ...args: any[]) => {
      const wait = Math.max(delay, 0);
      const id = this.#nextId++;
      const interval = repeat ? Math.max(wait, 1) : undefined;
      this.#timers.set(id, { id, due: this.#now + wait, interval, run: () => callback(...args) });
      return id;
    };
    const clear = (id?: number) => void this.#timers.delete(id as number);
    Object.assign(globalThis, {
      Date: new Proxy(real.Date, {
        construct: (target, args, newTarget) =>
          Reflect.construct(target, args.length ? args : [clock()], newTarget),
        apply: () => new real.Date(clock()).toString(),
        get: (target, property) => property === "now" ? clock : Reflect.get(target, property),
      }),
      setTimeout: add(false),
      clearTimeout: clear,
      setInterval: add(true),
      clearInterval: clear,
    });
    active = this;
  }

  static restore(): void {
    if (!active) throw new TimeError("Cannot restore time: time is already restored");
    active.restore();
  }

  get now(): number {
    return this.#now;
  }

  set now(value: number) {
    if (value < this.#now) {
      throw new RangeError(
        `Cannot set current time in the past, time must be >= ${this.#now}: received ${value}`,
      );
    }
    for (let timer = this.#earliest(); timer && timer.due <= value; timer = this.#earliest()) {
      this.#now = timer.due;
      if (timer.interval === undefined) this.#timers.delete(timer.id);
      else timer.due += timer.interval;
      timer.run();
    }
    this.#now = value;
  }

  get start(): number {
    return this.#start;
  }

  #earliest(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers.values()) {
      if (first === undefined || timer.due < first.due) first = timer;
    }
    return first;
  }

  tick(ms = 0): void {
    this.now += ms;
  }

  async tickAsync(ms = 0): Promise<void> {
    await this.runMicrotasks();
    this.now += ms;
  }

  next(): boolean {
    const timer = this.#earliest();
    if (timer) this.now = timer.due;
    return timer !== undefined;
  }

  async nextAsync(): Promise<boolean> {
    await this.runMicrotasks();
    return this.next();
  }

  runAll(): void {
    while (this.next());
  }

  async runAllAsync(): Promise<void> {
    while (await this.nextAsync());
  }

  runMicrotasks(): Promise<void> {
    return new Promise((resolve) => real.setTimeout(resolve, 0));
  }

  restore(): void {
    if (active !== this) throw new TimeError("Cannot restore time: time is already restored");
    Object.assign(globalThis, real);
    active = undefined;
  }

  [Symbol.dispose](): void {
    this.restore();
  }
}
