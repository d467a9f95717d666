package simnet
import ("accd/splice";"accd/tcpstack";"time")
type FaultKind int
const (Drain FaultKind = iota; Hang; Faults=8)
type Fault struct { Kind FaultKind; At, For time.Duration; Side splice.Side }
type BoxConfig struct { Legs [2]tcpstack.Config; MaxBuffer, Budget, MSS int; Batch time.Duration }
type Forgery int
const Forgeries = 11
type Attack struct { Kind Forgery; At time.Duration; From splice.Side; Behind bool }
type Config struct { Is6 bool; Near, Far Path; Hosts [2]HostConfig; Scripts [2]Script; Box BoxConfig; Faults []Fault; Forged []Attack }
