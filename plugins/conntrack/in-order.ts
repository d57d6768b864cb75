/**
 * The results of the tasks in the tasks' order, with at most `ahead` of them under way: the next task is not even asked
 * for before a result is taken, so a slow reader holds back the work.
 */
export async function* inOrder<T>(tasks: AsyncIterable<() => Promise<T>>, ahead: number): AsyncGenerator<T> {
  const underWay: Promise<T>[] = [];
  for await (const task of tasks) {
    const promise = task();
    // Whoever takes the result sees the failure; a reader that leaves early must not turn it into a crash.
    promise.catch(() => {});
    underWay.push(promise);
    if (underWay.length >= ahead) yield await (underWay.shift() as Promise<T>);
  }
  for (const promise of underWay) yield await promise;
}
