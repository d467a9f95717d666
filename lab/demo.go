package lab

const (
	directCubic = "direct-cubic"
	directBBR   = "direct-bbr"
	accdBBR     = "accd-bbr"
)
