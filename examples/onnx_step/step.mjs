// Step an ONNX file of seqkeras.export.save_onnx in JavaScript, one reading at a time:
//
//   node step.mjs model.onnx readings.json
//
// prints the output for each reading, and fails if the outputs differ from those of Keras.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-node";

const [modelPath = "model.onnx", readingsPath = "readings.json"] = process.argv.slice(2);
const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array };

const session = await ort.InferenceSession.create(modelPath);
const [input, ...states] = session.inputMetadata; // first the input, then the state
const [output] = session.outputNames;

/** Return the state before the first timestep: zeros, for one session. */
function initialState() {
  return Object.fromEntries(
    states.map(({ name, type, shape }) => {
      const dims = [1, ...shape.slice(1)];
      const length = dims.reduce((product, axis) => product * axis, 1);
      return [name, new ort.Tensor(type, new ARRAYS[type](length), dims)];
    }),
  );
}

/** Read one timestep; return the output and the new state. */
async function step(reading, state) {
  const x = new ort.Tensor(input.type, ARRAYS[input.type].from(reading), [1, reading.length]);
  const results = await session.run({ [input.name]: x, ...state });
  const next = states.map(({ name }) => [name, results[`${name}/new`]]);
  return [Array.from(results[output].data), Object.fromEntries(next)];
}

const { readings, expected } = JSON.parse(readFileSync(readingsPath, "utf8"));
let state = initialState();
let worst = 0;
for (const [t, reading] of readings.entries()) {
  let values;
  [values, state] = await step(reading, state);
  console.log(values.join(" "));
  values.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - expected[t][i]))));
}
console.error(`${readings.length} timesteps; largest difference from Keras ${worst.toExponential(1)}`);
process.exitCode = worst < 1e-5 ? 0 : 1;
