/** The readiness of one part of the service, and its details. */
export interface ReadinessCheck {
  readonly isReady: boolean;
  /** Details for a person or a monitor; JSON. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface ReadinessReport {
  readonly isReady: boolean;
  readonly checks: Readonly<Record<string, ReadinessCheck>>;
}

/** Checks one part. Throws the reason why the part does not work. */
export type Check = () => ReadinessCheck | Promise<ReadinessCheck>;

/** Returns the current report. */
export type Readiness = () => Promise<ReadinessReport>;

/** Combines checks into one report by name. The service is ready if all its parts are. */
export function createReadiness(checks: Readonly<Record<string, Check>>): Readiness {
  return async () => {
    const results = await Promise.all(
      Object.entries(checks).map(async ([name, check]) => [name, await outcome(check)] as const),
    );
    return { isReady: results.every(([, { isReady }]) => isReady), checks: Object.fromEntries(results) };
  };
}

/** Milliseconds for which the result of a check is cached. */
const BRIEF_MS = 1000;

/**
 * Checks a part at most once a second, and once for concurrent requests, because a check costs work and anyone may
 * request it.
 *
 * @param now a monotonic clock, in milliseconds
 */
export function brieflyRemembered(check: Check, now: () => number): Check {
  let last: { readonly result: Promise<ReadinessCheck>; readonly at: number } | undefined;
  return () => {
    if (last === undefined || now() - last.at >= BRIEF_MS) last = { result: outcome(check), at: now() };
    return last.result;
  };
}

async function outcome(check: Check): Promise<ReadinessCheck> {
  try {
    return await check();
  } catch (error) {
    return { isReady: false, details: { failure: error instanceof Error ? error.message : `${error}` } };
  }
}
