import {
  array,
  defaultCommand,
  definePlugin,
  defineResource,
  deleteByKey,
  LoxilbError,
  type MapSlice,
  type MapSpec,
  struct,
  u8,
  u32,
  z,
} from '@loxilb/sdk';

/** What a client POSTs, what is stored, and what GET shows: one schema, with descriptions for docs and flags. */
const greetingSchema = z
  .object({
    name: z.string().min(1).max(15).describe('Who is greeted'),
    text: z.string().max(31).default('hello').describe('What is said'),
    times: z.int().min(1).max(9).default(1).describe('How often it is said'),
  })
  .meta({ id: 'GreetingEntry' });

type Greeting = z.output<typeof greetingSchema>;

const NAME_BYTES = 16;

/** One entry per greeting. The daemon makes and pins the map, because the packet path has none of this name. */
function greetingMap(maxEntries: number): MapSpec<number[], { times: number }> {
  return {
    name: 'hello_greeting',
    type: 'hash',
    key: array(u8, NAME_BYTES),
    value: struct({ times: u32 }),
    maxEntries,
  };
}

function encodeName(name: string): number[] {
  const bytes = [...Buffer.from(name)];
  if (bytes.length <= NAME_BYTES) return [...bytes, ...Array<number>(NAME_BYTES - bytes.length).fill(0)];
  throw new LoxilbError(`name takes ${bytes.length} bytes, at most ${NAME_BYTES} fit`, {
    code: 'HELLO_NAME_TOO_LONG',
    status: 400,
    field: 'name',
    value: name,
    remedy: 'use a shorter name',
  });
}

const base = {
  kind: 'Greeting',
  name: 'greeting',
  path: '/config/greeting',
  envelope: 'greetingAttr',
  summary: 'Greetings',
  schema: greetingSchema,
};

function greetingResource(map: MapSlice<number[], { times: number }>) {
  return defineResource<Greeting>({
    ...base,
    key: ({ name }) => name,
    apply: ({ name, times }) => map.set(encodeName(name), { times }),
    remove: ({ name }) => void map.delete(encodeName(name)),
    reconcile: (greetings) => void map.sync(greetings.map(({ name, times }) => [encodeName(name), { times }])),
    status: (greetings) =>
      greetings.map((greeting) => ({ ...greeting, programmed: map.get(encodeName(greeting.name)) !== undefined })),
    deletes: [deleteByKey('/name/:name', 'greeting')],
    command: defaultCommand(base, {
      plugin: 'hello',
      args: ['name'],
      deletePath: '/name/:name',
      aliases: ['greetings'],
      columns: { NAME: 'name', TEXT: 'text', TIMES: 'times' },
      wideColumns: { NAME: 'name', TEXT: 'text', TIMES: 'times', PROGRAMMED: 'programmed' },
    }),
  });
}

export default definePlugin({
  name: 'hello',
  sdk: '^0.1.0',
  summary: 'Greets: the shortest plugin that has everything',
  config: z.strictObject({
    /** Most greetings there can be. */
    maxGreetings: z.int().min(1).max(1000).default(100),
  }),
  setup(ctx) {
    const map = ctx.map(greetingMap(ctx.config.maxGreetings));
    const greetings = ctx.resource(greetingResource(map));
    ctx.metrics.gauge({
      name: 'greetings',
      help: 'Greetings that are configured',
      collect: () => [{ value: greetings.list().size }],
    });
    ctx.onStart(() => ctx.log.info('hello started'));
  },
});
