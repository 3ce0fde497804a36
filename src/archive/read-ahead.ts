/** The progress of the current blob, which is the one being sent. */
export interface SendingProgress {
  /** A monotonic time in milliseconds. */
  readonly now: number;
  /** Bytes of the archive that are already sent. */
  readonly sent: number;
  /** Bytes of the current blob that are received but not yet sent. */
  readonly ready: number;
  /** Set if the rest of the current blob is received. */
  readonly isWhole: boolean;
}

/**
 * Decides how many of the next blobs may be fetched while the current one is sent, without slowing the current one down.
 *
 * If the current blob is well ahead of its client, the line to the registry is free for other blobs. If it is complete,
 * the line is free for the next one. Otherwise, the client waits for the registry.
 *
 * Then another connection may take bandwidth from the current blob, as on a shared line. Or it may add bandwidth, if the
 * registry limits each connection. The controller therefore tries one connection more, and later one less, and compares
 * the rates of the current blob. The longer a level proves right, the rarer the tries are.
 */
export interface ReadAheadControl {
  /** Starts with the next blob as the current one. */
  next(): void;
  /** Returns the number of next blobs that may be fetched now. */
  update(progress: SendingProgress): number;
  /** Set during a try. The caller must continue to update, even without new bytes, so that the try ends. */
  readonly isTrying: boolean;
  /** Set after a try of one connection more that has slowed the current blob down, until the next try. */
  readonly wasHarmful: boolean;
}

/** Milliseconds, and approximate bytes, of one sample of a rate. Shorter samples vary too much. */
export const SAMPLE_MS = 50;
const SAMPLE_BYTES = 128 * 1024;
const LONGEST_SAMPLE_MS = 1000;
/** Minimum samples for a reliable rate. */
const LEAST_SAMPLES = 5;
/**
 * Numbers of samples: of a whole try, until the rates are stable, and of a try that fails early. After a change, the
 * rates need time, because queued bytes still occupy the line for a moment, and a new connection begins slowly.
 */
const [TRY_SAMPLES, SETTLED_SAMPLES, LEAST_TRY_SAMPLES] = [7, 4, 2] as const;
/** Ratios of rates that count as a drop and as a gain. Smaller changes are noise. */
const [HARMED, GAINED] = [0.9, 1.1] as const;
/** A try of one more fails early if the drops of its samples sum up to this part of a usual sample. */
const CLEAR_LOSS = 0.5;
/** Milliseconds between two tries: initially, after a successful one, and at most. */
const [FIRST_HOLD_MS, SHORTEST_HOLD_MS, LONGEST_HOLD_MS] = [400, 100, 30_000] as const;
const HOLD_GROWTH = 5;
/** A blob is well ahead if its client needs this many milliseconds for the received bytes, until a quarter is left. */
const CUSHION_MS = 1000;
const LEAST_CUSHION = 4 * 1024 * 1024;
const LEFT = 0.25;
/** The weight of the latest sample in a rate. */
const WEIGHT = 0.5;

/** @param most maximum number of blobs that are fetched ahead */
export function createReadAheadControl(most: number): ReadAheadControl {
  let level = 0;
  let step: 1 | -1 = 1;
  let isRoomy = false;
  /** Bytes per millisecond: received from the registry, and taken by the client. */
  let rate: number | undefined;
  let taking = 0;
  let sample: SendingProgress | undefined;
  let heldSince: number | undefined;
  let hold: number = FIRST_HOLD_MS;
  /** Milliseconds until one more, or one less, is tried again. */
  const patience = { 1: FIRST_HOLD_MS as number, [-1]: FIRST_HOLD_MS as number };
  /** Set during a try. */
  let attempt: { milliseconds: number; bytes: number } | undefined;
  let wasHarmful = false;
  /** Milliseconds of the usual rate that the current blob has lost in the try. */
  let loss = 0;
  /** Samples since the start of the current hold or try. */
  let samples = 0;

  const startHold = (now: number, milliseconds: number): void => {
    attempt = undefined;
    sample = undefined;
    samples = 0;
    heldSince = now;
    hold = milliseconds;
  };
  const startTry = (): void => {
    attempt = { milliseconds: 0, bytes: 0 };
    samples = 0;
    loss = 0;
    wasHarmful = false;
  };
  const accept = (now: number, reached: number): void => {
    level += step;
    rate = reached;
    patience[1] = patience[-1] = FIRST_HOLD_MS;
    const isLast = level === 0 || level === most;
    if (isLast) step = level === 0 ? 1 : -1;
    startHold(now, isLast ? FIRST_HOLD_MS : SHORTEST_HOLD_MS);
  };
  const reject = (now: number): void => {
    wasHarmful = step === 1;
    patience[step] = Math.min(patience[step] * HOLD_GROWTH, LONGEST_HOLD_MS);
    if (level > 0 && level < most) step = step === 1 ? -1 : 1;
    startHold(now, patience[step]);
  };
  const evaluate = (now: number, milliseconds: number, bytes: number): void => {
    samples += 1;
    if (attempt === undefined || rate === undefined) {
      const latest = bytes / milliseconds;
      rate = rate === undefined ? latest : rate + (latest - rate) * WEIGHT;
      heldSince ??= now;
      if (samples >= LEAST_SAMPLES && now - heldSince >= hold) startTry();
      return;
    }
    if (samples === SETTLED_SAMPLES + 1) attempt = { milliseconds: 0, bytes: 0 };
    attempt.milliseconds += milliseconds;
    attempt.bytes += bytes;
    loss = Math.max(loss + milliseconds * HARMED - bytes / rate, 0);
    if (step === 1 && samples >= LEAST_TRY_SAMPLES && loss >= CLEAR_LOSS * SAMPLE_MS) {
      reject(now);
      return;
    }
    if (samples < TRY_SAMPLES) return;
    const reached = attempt.bytes / attempt.milliseconds;
    const isRight = step === 1 ? reached >= rate * HARMED : reached > rate * GAINED;
    if (isRight) accept(now, reached);
    else reject(now);
  };

  return {
    get isTrying() {
      return attempt !== undefined;
    },
    get wasHarmful() {
      return wasHarmful;
    },
    next() {
      attempt = undefined;
      sample = undefined;
      samples = 0;
    },
    update(progress) {
      const { now, sent, ready, isWhole } = progress;
      const cushion = Math.max(taking * CUSHION_MS, LEAST_CUSHION);
      const wasRoomy = isRoomy;
      isRoomy = ready >= (wasRoomy || isWhole ? cushion * LEFT : cushion);
      if (wasRoomy !== isRoomy) {
        // The rates of one state say nothing about the other.
        rate = undefined;
        wasHarmful = false;
        startHold(now, hold);
      }
      const begin = sample;
      if (begin === undefined) sample = progress;
      else {
        const milliseconds = now - begin.now;
        const expected = (rate ?? 0) * milliseconds;
        const isLong = milliseconds >= SAMPLE_MS && expected >= SAMPLE_BYTES;
        if (
          isLong ||
          milliseconds >= LONGEST_SAMPLE_MS ||
          (rate === undefined && milliseconds >= SAMPLE_MS)
        ) {
          sample = progress;
          taking += ((sent - begin.sent) / milliseconds - taking) * WEIGHT;
          if (!isRoomy && !isWhole) evaluate(now, milliseconds, sent + ready - begin.sent - begin.ready);
        }
      }
      if (isRoomy) return most;
      const allowed = attempt === undefined ? level : level + step;
      // Only the next blob, because a connection that soon waits would continue to fill its buffers.
      return isWhole ? Math.max(allowed, 1) : allowed;
    },
  };
}
