import type { CommandSpec } from '@loxilb/sdk/command';

export const command: CommandSpec = {
  name: 'lbversion',
  aliases: ['LBversion', 'LBVersion', 'llbversion', 'lversion'],
  plugin: 'version',
  path: '/version',
  envelope: '',
  get: {
    summary: 'Get a loxilb version',
    long: 'It shows the version of the daemon',
    path: '/version',
    single: true,
    narrow: {
      titlesWhenEmpty: true,
      columns: [
        { title: 'LoxiLB Version', value: 'version' },
        { title: 'LoxiLB Build Info', value: 'buildInfo' },
      ],
    },
  },
};
