package main

import "runtime"

// processors is how many threads may run Go code at once, as the machine has
// processors or GOMAXPROCS in the environment says.
var processors = runtime.GOMAXPROCS(0)

// spare is how many more may where each shard keeps one: so the heartbeat and what
// operators ask for do not wait for traffic, nor does traffic for them.
const spare = 2

// spareProcessors lets the rest of the program run beside so many shards.
func spareProcessors(shards int) { runtime.GOMAXPROCS(max(processors, shards+spare)) }
