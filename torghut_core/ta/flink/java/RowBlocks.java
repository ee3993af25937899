package torghut.ta;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.util.Collector;

/**
 * Takes Python's blocks of rows apart: one element per Kafka record.
 *
 * <p>A block is sections, little endian: place of the topic, count (int), the keys' lengths, the values' lengths (int
 * each), the keys, the values. An element is the place of the topic (one byte), the key's length (int), key and value.
 */
public final class RowBlocks implements FlatMapFunction<byte[], byte[]> {
    private static final long serialVersionUID = 1L;
    static final int HEAD_BYTES = 5;

    @Override
    public void flatMap(byte[] block, Collector<byte[]> out) {
        ByteBuffer in = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
        while (in.hasRemaining()) {
            byte topic = (byte) in.getInt();
            int count = in.getInt();
            int[] lengths = new int[2 * count];
            in.asIntBuffer().get(lengths);
            int key = in.position() + 8 * count;
            int value = key;
            for (int at = 0; at < count; at++) {
                value += lengths[at];
            }
            for (int at = 0; at < count; at++) {
                int keyLength = lengths[at];
                int valueLength = lengths[count + at];
                byte[] row = new byte[HEAD_BYTES + keyLength + valueLength];
                ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN).put(topic).putInt(keyLength);
                System.arraycopy(block, key, row, HEAD_BYTES, keyLength);
                System.arraycopy(block, value, row, HEAD_BYTES + keyLength, valueLength);
                key += keyLength;
                value += valueLength;
                out.collect(row);
            }
            in.position(value);
        }
    }
}
