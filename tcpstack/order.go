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

// insert puts id before place i; i == n appends.
func (o *order) insert(i int, id int32) {
	if i < o.n-i && o.head > 0 {
		copy(o.room[o.head-1:], o.room[o.head:o.head+i])
		o.head--
	} else {
		if o.head+o.n == len(o.room) {
			o.spread()
		}
		copy(o.room[o.head+i+1:o.head+o.n+1], o.room[o.head+i:o.head+o.n])
	}
	o.n++
	o.room[o.head+i] = id
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

// spread makes room at the end: by moving down where at least half of the room is
// free, so that each move pays for as many insertions, and else by doubling.
func (o *order) spread() {
	room := o.room
	if 2*o.n > len(room) || len(room) == 0 {
		room = make([]int32, max(64, 2*len(room)))
	}
	head := (len(room) - o.n) / 4
	copy(room[head:], o.room[o.head:o.head+o.n])
	o.room, o.head = room, head
}
