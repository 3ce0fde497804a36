/**
 * Runs with `--import` in a program that a test starts. Node.js then looks as on another operating system: the modules
 * and files of Linux are missing. PLATFORM is its name, such as `win32`.
 */
import fs from 'node:fs';
import { registerHooks, syncBuiltinESMExports } from 'node:module';
import process from 'node:process';

const { PLATFORM: platform } = process.env;
if (platform === undefined) throw new Error('PLATFORM names no platform');

/** Modules that only make sense on Linux, or on a server. */
const LINUX_MODULES = /\/src\/(?:systemd|cluster)\/|\/node-linux-|^node:cluster$/;
const LINUX_FILES = /^\/(?:etc|proc|sys|run|var)\//;

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    if (LINUX_MODULES.test(resolved.url)) throw new Error(`${resolved.url} is not available on ${platform}`);
    return resolved;
  },
});

Object.defineProperty(process, 'platform', { value: platform });
if (platform === 'win32')
  Object.assign(process, { getuid: undefined, geteuid: undefined, getgid: undefined, getegid: undefined });

type Call = (path: unknown, ...rest: unknown[]) => unknown;

/** Makes a function of node:fs fail for the files of Linux. */
function without(functions: Record<string, unknown>, name: string): void {
  const original = functions[name] as Call;
  functions[name] = function (this: unknown, path: unknown, ...rest: unknown[]): unknown {
    if (!LINUX_FILES.test(`${path}`)) return original.call(this, path, ...rest);
    const error = Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), {
      code: 'ENOENT',
    });
    const callback = rest.at(-1);
    if (typeof callback === 'function') return callback(error);
    if (functions === (fs.promises as unknown)) return Promise.reject(error);
    throw error;
  };
}

for (const name of ['readFile', 'open', 'stat', 'readdir', 'access']) {
  without(fs.promises as unknown as Record<string, unknown>, name);
  without(fs as unknown as Record<string, unknown>, name);
  without(fs as unknown as Record<string, unknown>, `${name}Sync`);
}
syncBuiltinESMExports();
