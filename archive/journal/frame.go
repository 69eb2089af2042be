package journal

import (
	"encoding/binary"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// frameHead is the length of a frame's header in bytes. The header holds the record's length, its
// index in the segment, and a CRC32C of both, of the record and of the segment's identity, so that
// neither zeros nor bytes of another file pass for a frame.
const frameHead = 12

// appendFrame appends a frame whose index and checksum seal fills in.
func appendFrame(dst, record []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(record)))
	dst = append(dst, make([]byte, frameHead-4)...)
	return append(dst, record...)
}

// seal fills in the indexes, starting at index, and the checksums of frames for a segment. It
// returns the number of frames and the checksum of the last one, or sum if there is none.
func seal(frames []byte, id segmentID, index, sum uint32) (n, last uint32) {
	for len(frames) > 0 {
		size := frameHead + int(binary.LittleEndian.Uint32(frames))
		frame := frames[:size]
		binary.LittleEndian.PutUint32(frame[4:], index+n)
		sum = frameSum(frame, id)
		binary.LittleEndian.PutUint32(frame[8:], sum)
		frames = frames[size:]
		n++
	}
	return n, sum
}

// frameSum returns the checksum of a frame.
func frameSum(frame []byte, id segmentID) uint32 {
	var tail [20]byte
	copy(tail[:8], frame)
	binary.LittleEndian.PutUint64(tail[8:], id.number)
	binary.LittleEndian.PutUint32(tail[16:], id.salt)
	return binfmt.UpdateChecksum(binfmt.Checksum(frame[frameHead:]), tail[:])
}

// isSound reports whether a frame is as it was written to the segment.
func isSound(frame []byte, id segmentID) bool {
	return binary.LittleEndian.Uint32(frame[8:]) == frameSum(frame, id)
}
