import { formatBatch } from './format.js';

export default formatBatch;
