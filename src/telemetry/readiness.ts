/** Whether one part of the service can do its work, and what there is to know of it. */
export interface ReadinessCheck {
  readonly isReady: boolean;
  /** What a person, or a monitor, wants to see; JSON. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface ReadinessReport {
  readonly isReady: boolean;
  readonly checks: Readonly<Record<string, ReadinessCheck>>;
}

/** Tells how it stands at this moment. */
export type Readiness = () => ReadinessReport;

/** Makes one report of checks by name; the service is ready where all of its parts are. */
export function createReadiness(checks: Readonly<Record<string, () => ReadinessCheck>>): Readiness {
  return () => {
    const results = Object.entries(checks).map(([name, check]) => [name, check()] as const);
    return { isReady: results.every(([, { isReady }]) => isReady), checks: Object.fromEntries(results) };
  };
}
