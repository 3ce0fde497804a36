import { readLists } from '../config/lists.ts';
import type { Config } from '../config/schema.ts';
import { readTrustRules } from '../config/trust-rules.ts';
import { createGuard, type Guard } from '../net/guard.ts';
import { type NamePattern, parseNamePattern } from '../oci/name-pattern.ts';
import { registryOrigin } from '../oci/registry-host.ts';
import { type Allowlist, createAllowlist } from '../policy/allowlist.ts';
import { type ClientList, createClientList } from '../policy/client-list.ts';
import { PUBLIC_REGISTRIES } from '../policy/public-registries.ts';
import { createTrustPolicy, type TrustPolicy, type TrustRule } from '../trust/trust-policy.ts';

/** The current access rules of the operator: allowed images, clients, and addresses. */
export interface Access {
  readonly guard: Guard;
  readonly allowlist: Allowlist;
  readonly clients: ClientList;
  /** The rules that state which images need a signature. */
  readonly policy: TrustPolicy;
  /** The patterns in force, and the rules about signatures. */
  patterns(): {
    readonly allow: readonly NamePattern[];
    readonly deny: readonly NamePattern[];
    readonly trust: readonly TrustRule[];
  };
  /**
   * Applies the lists of new settings, and reads the files of lists and of the policy again.
   *
   * @throws ConfigError if one of them has a mistake; then nothing changes
   */
  reload(config: Config): void;
}

/**
 * @param ownAddresses as {@link createGuard} takes them
 * @throws ConfigError if a file of lists or of the policy has a mistake
 */
export function createAccess(config: Config, ownAddresses: () => readonly string[]): Access {
  let current = rulesOf(config, ownAddresses);
  return {
    guard: {
      checkUrl: (url, chosenBy) => current.guard.checkUrl(url, chosenBy),
      checkAddresses: (hostname, addresses) => current.guard.checkAddresses(hostname, addresses),
      trusts: (origin, chosenBy) => current.guard.trusts(origin, chosenBy),
    },
    allowlist: { check: (reference) => current.allowlist.check(reference) },
    clients: { check: (address) => current.clients.check(address) },
    policy: {
      ruleFor: (repository) => current.policy.ruleFor(repository),
      contact: () => current.policy.contact(),
    },
    patterns: () => current.patterns,
    reload(fresh) {
      current = rulesOf(fresh, ownAddresses);
    },
  };
}

function rulesOf(config: Config, ownAddresses: () => readonly string[]) {
  const { allow: listed, deny, allowClients, denyClients } = readLists(config);
  const trust = readTrustRules(config);
  const insecure = new Set(config.insecureRegistries);
  const allow = listed ?? [
    ...PUBLIC_REGISTRIES,
    ...config.insecureRegistries.map((domain) => parseNamePattern(`${domain}/**`)),
  ];
  // A registry that the operator names may have a private address; one that only a wildcard allows may not.
  const named = (listed ?? []).flatMap(({ domain }) => domain ?? []);
  const trusted = [...insecure, ...named].map((domain) => registryOrigin(domain, insecure));
  return {
    patterns: { allow, deny, trust },
    guard: createGuard(trusted, ownAddresses),
    allowlist: createAllowlist({ allow, deny }),
    clients: createClientList({ allow: allowClients, deny: denyClients }),
    policy: createTrustPolicy(trust, config.operatorContact),
  };
}
