package tcpstack

// order is a sequence of record numbers with cheap ends and a bearable middle: what
// is put in or taken out there moves the shorter side, four bytes for each record.
// The room in front and behind is used again, so a sequence that only moves on
// allocates nothing.
type order struct {
	room    []int32
	head, n int // the sequence is room[head : head+n]
}

func (o *order) at(i int) int32 { return o.room[o.head+i] }

func (o *order) reset() { o.head, o.n = 0, 0 }

// open makes k places, at most spare of them, before place i, and gives them to be
// filled; i == n appends.
func (o *order) open(i, k int) []int32 {
	if i < o.n-i && o.head >= k {
		copy(o.room[o.head-k:], o.room[o.head:o.head+i])
		o.head -= k
	} else {
		if o.head+o.n+k > len(o.room) {
			o.spread()
		}
		copy(o.room[o.head+i+k:o.head+o.n+k], o.room[o.head+i:o.head+o.n])
	}
	o.n += k
	return o.room[o.head+i : o.head+i+k]
}

// remove takes the places [i, j) out.
func (o *order) remove(i, j int) {
	if i < o.n-j {
		copy(o.room[o.head+j-i:], o.room[o.head:o.head+i])
		o.head += j - i
	} else {
		copy(o.room[o.head+i:], o.room[o.head+j:o.head+o.n])
	}
	o.n -= j - i
}

// spare is the least that spread makes.
const spare = 16

// spread makes room at the end: by moving down where at least half of the room is
// free, so that each move pays for as many insertions, and else by doubling.
func (o *order) spread() {
	room := o.room
	if 2*o.n > len(room)-2*spare {
		room = make([]int32, max(4*spare, 2*len(room)))
	}
	head := (len(room) - o.n) / 4
	copy(room[head:], o.room[o.head:o.head+o.n])
	o.room, o.head = room, head
}
