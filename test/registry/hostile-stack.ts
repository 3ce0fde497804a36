import { after, before } from 'node:test';
import { type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { createStack, type Stack } from './stack.ts';

/** Starts a registry that misbehaves as each test requests, and creates a client that may reach it. */
export function useHostileRegistry(): { registry: () => HostileRegistry; stack: () => Stack } {
  let registry: HostileRegistry;
  let stack: Stack;
  before(async () => {
    registry = await startHostileRegistry();
    stack = createStack({ hosts: [registry.host] });
  });
  after(async () => {
    await stack[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });
  return { registry: () => registry, stack: () => stack };
}
