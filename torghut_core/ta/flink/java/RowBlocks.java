package torghut.ta;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.util.Collector;

/**
 * Takes Python's blocks of rows apart: one record per row. The producer partitions by key and stamps the wall clock.
 *
 * <p>A block is sections, little endian: place of the topic, count (int), the keys' lengths, the values' lengths (int
 * each), the keys, the values. The sink is chained to this, so a record is never serialized before it.
 */
public final class RowBlocks implements FlatMapFunction<byte[], ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1L;

    private final String[] topics;

    public RowBlocks(String[] topics) {
        this.topics = topics;
    }

    @Override
    public void flatMap(byte[] block, Collector<ProducerRecord<byte[], byte[]>> out) {
        ByteBuffer in = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
        while (in.hasRemaining()) {
            String topic = topics[in.getInt()];
            int count = in.getInt();
            int[] lengths = new int[2 * count];
            in.asIntBuffer().get(lengths);
            int key = in.position() + 8 * count;
            int value = key;
            for (int at = 0; at < count; at++) {
                value += lengths[at];
            }
            for (int at = 0; at < count; at++) {
                int keyEnd = key + lengths[at];
                int valueEnd = value + lengths[count + at];
                out.collect(new ProducerRecord<>(
                        topic, Arrays.copyOfRange(block, key, keyEnd), Arrays.copyOfRange(block, value, valueEnd)));
                key = keyEnd;
                value = valueEnd;
            }
            in.position(value);
        }
    }
}
