import { type CommandDescriptor, type CommandList, type CommandSpec, commandFromDescriptor } from '@loxilb/sdk/command';
import { type Client, TransportError } from './client.js';

/** Commands of the plugins the daemon runs; empty when it cannot be asked. */
export async function fetchCommands(client: Client): Promise<readonly CommandSpec[]> {
  try {
    const answer = await client.request('GET', '/commands');
    if (answer.status !== 200) return [];
    const { commands } = JSON.parse(answer.text) as CommandList;
    return commands.map(asCommand);
  } catch (error) {
    if (error instanceof TransportError || error instanceof SyntaxError) return [];
    throw error;
  }
}

function asCommand(descriptor: CommandDescriptor): CommandSpec {
  return { ...commandFromDescriptor(descriptor), descriptor };
}
