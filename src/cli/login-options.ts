import type { CommandOptions } from './command-options.ts';

/** The flags of commands that can log in. */
export const LOGIN_OPTIONS: CommandOptions = {
  user: {
    value: '[REGISTRY/]NAME',
    doc: 'user name for private images. The password is read from DOCKERPROXY_PASSWORD or a prompt',
  },
  'password-stdin': { doc: 'reads the password from stdin' },
};
